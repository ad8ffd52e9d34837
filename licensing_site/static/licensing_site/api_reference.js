// Swagger UI over both doors' documents, with a menu to choose between them.
const root = document.getElementById("api-reference");
const doors = Object.entries(root.dataset).map(([door, name]) => ({ name, url: `/openapi/${door}.json` }));

// The bar's logo brings an inline style along, which the content security policy refuses.
const withoutLogo = () => ({ components: { Logo: () => null } });

window.ui = SwaggerUIBundle({
  urls: doors,
  dom_id: "#api-reference",
  deepLinking: true,
  persistAuthorization: false,
  validatorUrl: null,
  presets: [SwaggerUIBundle.presets.apis, SwaggerUIStandalonePreset],
  plugins: [withoutLogo],
  layout: "StandaloneLayout",
});

// Small comforts of every page. Without it, everything still works: menus are <details>, actions are forms.
(() => {
  "use strict";

  const announce = (text, kind) => {
    const region = document.getElementById("notices");
    if (!region) return;
    const notice = document.createElement("div");
    notice.className = `notice ${kind}`;
    const line = document.createElement("p");
    line.className = "notice-text";
    line.textContent = text;
    notice.append(line);
    region.replaceChildren(notice);
    notice.scrollIntoView({ block: "nearest" });
  };

  // Menus close on a click elsewhere and on Escape, which gives the focus back.
  document.addEventListener("click", (event) => {
    for (const menu of document.querySelectorAll("details.menu[open]")) {
      if (!menu.contains(event.target)) menu.open = false;
    }
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    for (const menu of document.querySelectorAll("details.menu[open]")) {
      menu.open = false;
      menu.querySelector("summary").focus();
    }
  });

  // Copy buttons: `data-copy` holds the text, or names the element that does.
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy], [data-copy-from]");
    if (!button) return;
    const source = button.dataset.copyFrom && document.getElementById(button.dataset.copyFrom);
    const text = source ? source.textContent : button.dataset.copy;
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      announce("The browser did not let the page copy. Select the text and copy it by hand.", "warning");
      return;
    }
    const use = button.querySelector("use");
    const before = use.getAttribute("href");
    use.setAttribute("href", "#i-check");
    button.classList.add("done");
    const label = button.getAttribute("aria-label");
    button.setAttribute("aria-label", "Copied");
    setTimeout(() => {
      use.setAttribute("href", before);
      button.classList.remove("done");
      button.setAttribute("aria-label", label);
    }, 1500);
  });

  // Light, dark, or what the system says; a cookie, so that the server renders the right one at once.
  const choices = () => document.querySelectorAll("[data-theme-choice]");
  const showTheme = () => {
    const chosen = document.documentElement.dataset.theme || "system";
    for (const choice of choices()) choice.setAttribute("aria-pressed", String(choice.dataset.themeChoice === chosen));
  };
  document.addEventListener("click", (event) => {
    const choice = event.target.closest("[data-theme-choice]");
    if (!choice) return;
    const theme = choice.dataset.themeChoice;
    if (theme === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    const age = theme === "system" ? 0 : 31536000;
    document.cookie = `theme=${theme}; path=/; max-age=${age}; samesite=lax`;
    showTheme();
    document.dispatchEvent(new CustomEvent("theme-changed"));
  });
  showTheme();

  // Confirmations that were fetched open as a dialog instead of a page.
  document.addEventListener("htmx:afterSwap", (event) => {
    if (event.detail.target.id !== "dialog") return;
    for (const menu of document.querySelectorAll("details.menu[open]")) menu.open = false;
    event.detail.target.showModal();
  });
  document.addEventListener("click", (event) => {
    if (!event.target.closest("dialog [data-close]")) return;
    event.preventDefault();
    event.target.closest("dialog").close();
  });

  // A refused or lost action says so; what was typed is still there.
  document.addEventListener("htmx:responseError", (event) => {
    const answer = event.detail.xhr;
    const id = answer.getResponseHeader("X-Request-Id");
    const said = {
      403: "You may not do this. Ask an owner or an admin of the workspace.",
      404: "This is no longer here. Load the page again.",
      429: "Too many tries. Wait a little and try again.",
      503: "A store cannot be reached. Nothing was done. Try again in a moment.",
    };
    const text = said[answer.status] || "The server could not answer. Nothing was done. Try again.";
    announce(`${text}${id ? ` Request ${id}.` : ""}`, "error");
  });
  document.addEventListener("htmx:sendError", () => {
    announce("The server cannot be reached. Nothing was done. Try again in a moment.", "error");
  });

  // `/` goes to the search field of the page.
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.target.closest("input, textarea, select")) return;
    const search = document.querySelector("input[type=search]");
    if (search) { event.preventDefault(); search.focus(); }
  });

  // Filters that are chosen from a list apply at once.
  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-submit-on-change]")) event.target.form.requestSubmit();
  });

  // Up and down go through the rows of a table.
  document.addEventListener("keydown", (event) => {
    if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
    const row = event.target.closest("tr[data-row]");
    if (!row || event.target !== row) return;
    const next = event.key === "ArrowDown" ? row.nextElementSibling : row.previousElementSibling;
    if (next) { event.preventDefault(); next.focus(); }
  });

  // The sign-up form proposes the browser's timezone.
  const zone = document.querySelector("select[data-guess-timezone]");
  if (zone) {
    const guess = Intl.DateTimeFormat().resolvedOptions().timeZone;
    if ([...zone.options].some((option) => option.value === guess)) zone.value = guess;
  }
})();

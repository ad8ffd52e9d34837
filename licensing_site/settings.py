"""Django's settings, all of them from the environment (12-factor); secrets also from `NAME_FILE`.

`PERMETER_ENV` is `quickstart` (the default: what `make run` starts), `test`, or `production`, where every secret and
address has to be given and cookies, redirects and HSTS assume TLS in front.
"""

import os
from datetime import timedelta

from django.core.exceptions import ImproperlyConfigured
from django.core.management.utils import get_random_secret_key

from licensing_site.environment import BASE_DIR as BASE_DIR
from licensing_site.environment import Sources, celery_url, database_settings, env, networks, read_var_dir
from licensing_site.logs import logging_config
from licensing_site.schedule import BEAT_SCHEDULE
from licensing_site.security import CONTENT_SECURITY_POLICY as CONTENT_SECURITY_POLICY
from licensing_site.unfold import UNFOLD as UNFOLD

PERMETER_ENV = env.str("PERMETER_ENV", default="quickstart")
if PERMETER_ENV not in {"quickstart", "test", "production"}:
    raise ImproperlyConfigured(f"PERMETER_ENV is quickstart, test or production, not {PERMETER_ENV!r}.")
PRODUCTION = PERMETER_ENV == "production"
VAR_DIR = read_var_dir()
sources = Sources(var_dir=VAR_DIR, production=PRODUCTION)

DEBUG = env.bool("DJANGO_DEBUG", default=False) and not PRODUCTION
ROOT_URLCONF = "licensing_site.urls"
WSGI_APPLICATION = "licensing_site.wsgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
BASE_URL = env.str("BASE_URL", default=f"http://127.0.0.1:{os.environ.get('PORT') or 8000}").rstrip("/")
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=[] if PRODUCTION else ["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])

# --- secrets --------------------------------------------------------------------------------------------------------
# The fallbacks are for processes that serve nobody (type checks, `makemigrations --check`): they change at each start.
SECRET_KEY = sources.secret("SECRET_KEY", key="secret_key", default=get_random_secret_key())
SECRET_KEY_FALLBACKS = env.list("SECRET_KEY_FALLBACKS", default=[])


def _peppers(text: str) -> dict[str, str]:
    """`"2=new,1=old"` as `{"2": "new", "1": "old"}`; the first is the one new keys are stored under."""
    pairs = [entry.strip().partition("=") for entry in text.split(",") if entry.strip()]
    return {pepper_id: secret for pepper_id, _, secret in pairs}


PERMETER_KEY_PEPPERS = _peppers(
    sources.secret("PERMETER_KEY_PEPPERS", key="key_peppers", default=f"1={get_random_secret_key().replace(',', '.')}")
)
PERMETER_ENCRYPTION_KEYS = sources.secret(
    "PERMETER_ENCRYPTION_KEYS", key="encryption_keys", default="AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
).split(",")

# --- what runs ------------------------------------------------------------------------------------------------------
INSTALLED_APPS = [
    "unfold",
    "unfold.contrib.filters",
    "unfold.contrib.forms",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.humanize",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_filters",
    "corsheaders",
    "csp",
    "django_htmx",
    "tenants",
    "licenses",
    "webhooks",
    "metering",
    "agent_api",
    "vendor_api",
    "dashboard",
    "licensing_site",
]

MIDDLEWARE = [
    "licensing_site.middleware.RequestIdMiddleware",
    "licensing_site.middleware.UnreadBodyMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "licensing_site.security.ContentSecurityPolicyMiddleware",
    "corsheaders.middleware.CorsMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "allauth.account.middleware.AccountMiddleware",
]

#: The agents' door: no session, no log-in, no CSRF, nothing that touches the database before the view does.
AGENT_MIDDLEWARE = [
    "licensing_site.middleware.RequestIdMiddleware",
    "licensing_site.middleware.UnreadBodyMiddleware",
    "licensing_site.middleware.ApiHeadersMiddleware",
    "licensing_site.middleware.AllowedHostMiddleware",
    "licensing_site.middleware.BrowsersMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "csp.context_processors.nonce",
            ],
        },
    },
]

# --- stores ---------------------------------------------------------------------------------------------------------
DATABASE_URL = sources.address("DATABASE_URL", key="database_url", default="postgresql://permeter@localhost/permeter")
REDIS_URL = sources.address("REDIS_URL", key="redis_url", default="redis://localhost:6379/0")

#: Set by the web entries before settings are read. Everything else (commands, Celery's forks) has plain connections.
DATABASE_POOL_SIZE = env.int("PERMETER_DATABASE_POOL", default=0) or None
DATABASES = {"default": database_settings(DATABASE_URL, pool_size=DATABASE_POOL_SIZE)}

CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": REDIS_URL,
        "KEY_PREFIX": "cache",
        "OPTIONS": {"socket_connect_timeout": 0.5, "socket_timeout": 0.5},
    }
}

# --- Celery ---------------------------------------------------------------------------------------------------------
CELERY_BROKER_URL = celery_url(env.str("CELERY_BROKER_URL", default="") or REDIS_URL)
CELERY_BROKER_TRANSPORT_OPTIONS = {"global_keyprefix": "celery:", "visibility_timeout": 3600}
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TASK_IGNORE_RESULT = True
# A killed worker's task is delivered again: every task is safe to run twice.
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_TIMEZONE = "UTC"
CELERY_BEAT_SCHEDULE = BEAT_SCHEDULE
CELERY_BEAT_SCHEDULE_FILENAME = str(VAR_DIR / "celerybeat-schedule")

# --- people ---------------------------------------------------------------------------------------------------------
AUTH_USER_MODEL = "tenants.User"
AUTHENTICATION_BACKENDS = [
    "django.contrib.auth.backends.ModelBackend",
    "allauth.account.auth_backends.AuthenticationBackend",
]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher"]
if PERMETER_ENV == "test":
    PASSWORD_HASHERS.insert(0, "django.contrib.auth.hashers.MD5PasswordHasher")
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/dashboard/"
LOGOUT_REDIRECT_URL = "/"
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*", "password2*"]
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_EMAIL_VERIFICATION = env.str("ACCOUNT_EMAIL_VERIFICATION", default="mandatory")
ACCOUNT_LOGIN_ON_EMAIL_CONFIRMATION = True
ACCOUNT_UNIQUE_EMAIL = True
ACCOUNT_SESSION_REMEMBER = True
ACCOUNT_FORMS = {
    "login": "licensing_site.account_forms.LoginForm",
    "signup": "licensing_site.account_forms.SignupForm",
    "add_email": "licensing_site.account_forms.AddEmailForm",
    "change_password": "licensing_site.account_forms.ChangePasswordForm",
    "reset_password": "licensing_site.account_forms.ResetPasswordForm",
    "reset_password_from_key": "licensing_site.account_forms.ResetPasswordKeyForm",
}
ACCOUNT_EMAIL_SUBJECT_PREFIX = ""
ACCOUNT_DEFAULT_HTTP_PROTOCOL = "https" if PRODUCTION else "http"
MFA_SUPPORTED_TYPES = ["totp", "recovery_codes"]
MFA_TOTP_ISSUER = "Permeter"
RATELIMIT_USE_CACHE = "default"

EMAIL_BACKEND = "licensing_site.mail.EmlFileBackend"
EMAIL_FILE_PATH = str(VAR_DIR / "mail")
if PRODUCTION or env.str("EMAIL_URL", default=""):
    email = env.email_url("EMAIL_URL", default="smtp://localhost:25")
    EMAIL_BACKEND, EMAIL_HOST, EMAIL_PORT = email["EMAIL_BACKEND"], email["EMAIL_HOST"], email["EMAIL_PORT"]
    EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = email["EMAIL_HOST_USER"], email["EMAIL_HOST_PASSWORD"]
    EMAIL_USE_TLS, EMAIL_USE_SSL = email.get("EMAIL_USE_TLS", False), email.get("EMAIL_USE_SSL", False)
DEFAULT_FROM_EMAIL = env.str("DEFAULT_FROM_EMAIL", default="Permeter <noreply@localhost>")
SERVER_EMAIL = DEFAULT_FROM_EMAIL

# --- doors ----------------------------------------------------------------------------------------------------------
#: One MiB is the most that a body may hold; imports stream and are not read by Django.
DATA_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024
REST_FRAMEWORK = {
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_PERMISSION_CLASSES": [],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "UNAUTHENTICATED_USER": None,
    "UNAUTHENTICATED_TOKEN": None,
    "COERCE_DECIMAL_TO_STRING": True,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Permeter",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "COMPONENT_SPLIT_REQUEST": True,
    # Generated documents are compared with the committed ones instead.
    "ENABLE_DJANGO_DEPLOY_CHECK": False,
}
# Published software calls the agents' door from browsers, with a key in a header and never with cookies.
CORS_URLS_REGEX = r"^/(agent/v1|t)/"
CORS_ALLOW_ALL_ORIGINS = True
CORS_ALLOW_CREDENTIALS = False
CORS_ALLOW_HEADERS = ["authorization", "content-type", "idempotency-key", "x-license-key", "x-request-id", "accept"]
CORS_EXPOSE_HEADERS = ["RateLimit", "RateLimit-Policy", "Retry-After", "X-Request-Id", "Idempotency-Replayed"]
CORS_PREFLIGHT_MAX_AGE = 86400

# --- who calls ------------------------------------------------------------------------------------------------------
PERMETER_TRUSTED_PROXIES = networks(env.list("PERMETER_TRUSTED_PROXIES", default=[]))
PERMETER_LICENSE_KEY_GUESSES = env.int("PERMETER_LICENSE_KEY_GUESSES", default=10)
PERMETER_LICENSE_KEY_GUESSES_PER_TENANT = env.int("PERMETER_LICENSE_KEY_GUESSES_PER_TENANT", default=300)
RATELIMIT_IP_META_KEY = "common.addresses.client_address"
ACCOUNT_ADAPTER = "licensing_site.account_adapter.AccountAdapter"

# --- what Permeter itself asks --------------------------------------------------------------------------------------
PERMETER_WEB_PROCESSES = env.int("PERMETER_WEB_PROCESSES", default=2)
PERMETER_ACCEPTANCE_WINDOW = timedelta(days=env.int("PERMETER_ACCEPTANCE_WINDOW_DAYS", default=35))
PERMETER_EVENT_RETENTION = timedelta(days=env.int("PERMETER_EVENT_RETENTION_DAYS", default=762))
PERMETER_IMPORT_MAX_BYTES = env.int("PERMETER_IMPORT_MAX_BYTES", default=10 * 1024**3)
PERMETER_EVENT_ARCHIVE = env.str("PERMETER_EVENT_ARCHIVE", default="")
PERMETER_FUTURE_TOLERANCE = timedelta(seconds=env.int("PERMETER_FUTURE_TOLERANCE_SECONDS", default=300))
PERMETER_JOB_LEASE = timedelta(seconds=env.int("PERMETER_JOB_LEASE_SECONDS", default=60))
PERMETER_CLOSE_GRACE = timedelta(seconds=env.int("PERMETER_CLOSE_GRACE_SECONDS", default=3600))
PERMETER_SNAPSHOT_MAX_AGE = timedelta(seconds=env.int("PERMETER_SNAPSHOT_MAX_AGE_SECONDS", default=60))
PERMETER_SIGNING_KEY_LIFE = timedelta(days=env.int("PERMETER_SIGNING_KEY_DAYS", default=90))
if timedelta(days=31) > PERMETER_EVENT_RETENTION - PERMETER_ACCEPTANCE_WINDOW:
    raise ImproperlyConfigured("PERMETER_EVENT_RETENTION_DAYS is 31 above PERMETER_ACCEPTANCE_WINDOW_DAYS, or more.")
PERMETER_SIGNING_ALGORITHM = env.str("PERMETER_SIGNING_ALGORITHM", default="EdDSA")
if PERMETER_SIGNING_ALGORITHM not in {"EdDSA", "Ed25519"}:
    raise ImproperlyConfigured("PERMETER_SIGNING_ALGORITHM is EdDSA or Ed25519, which name the same.")

# --- pages and files ------------------------------------------------------------------------------------------------
LANGUAGE_CODE = "en-gb"
USE_I18N = False
USE_TZ = True
TIME_ZONE = "UTC"
FORMAT_MODULE_PATH = ["licensing_site.formats"]
STATIC_URL = "/static/"
STATIC_ROOT = env.str("STATIC_ROOT", default=str(BASE_DIR / "staticfiles")) if PRODUCTION else None
STATICFILES_DIRS = [BASE_DIR / "static"]
# Production collects and compresses once; elsewhere the files are served from where they lie.
WHITENOISE_USE_FINDERS = not PRODUCTION
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"
        if PRODUCTION
        else "django.contrib.staticfiles.storage.StaticFilesStorage"
    },
}

# --- transport ------------------------------------------------------------------------------------------------------
SECURE_SSL_REDIRECT = env.bool("SECURE_SSL_REDIRECT", default=PRODUCTION)
SECURE_REDIRECT_EXEMPT = [r"^livez$", r"^readyz$"]
if env.bool("TRUST_FORWARDED_PROTO", default=False):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SECURE_HSTS_SECONDS = env.int("SECURE_HSTS_SECONDS", default=31536000 if PRODUCTION else 0)
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = PRODUCTION
SECURE_REFERRER_POLICY = "same-origin"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = PRODUCTION
SESSION_COOKIE_HTTPONLY = True
X_FRAME_OPTIONS = "DENY"

# --- logging --------------------------------------------------------------------------------------------------------
LOGGING = logging_config(level=env.str("LOG_LEVEL", default="INFO"))

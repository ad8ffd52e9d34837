"""Tuned as a good engineer would: no middleware, connections that stay, JSON only, prepared statements."""

import os
from urllib.parse import parse_qs, unquote, urlsplit

_url = urlsplit(os.environ["DIY_DATABASE_URL"])

SECRET_KEY = "only-for-measuring"
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "benchmarks.peers.diy_django.urls"
INSTALLED_APPS = ["rest_framework", "rest_framework_api_key", "benchmarks.peers.diy_django.apps.DiyConfig"]
MIDDLEWARE: list[str] = []
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": _url.path.lstrip("/"),
        "USER": _url.username or "",
        "PASSWORD": _url.password or "",
        "HOST": unquote(_url.hostname or parse_qs(_url.query).get("host", [""])[0]),
        "PORT": _url.port or "",
        "CONN_MAX_AGE": None,
        "OPTIONS": {"prepare_threshold": 5},
    }
}
CACHES = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": os.environ["REDIS_URL"]}}
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "UNAUTHENTICATED_USER": None,
    "UNAUTHENTICATED_TOKEN": None,
}

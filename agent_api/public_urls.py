"""Paths that anybody may read, under `/t/`."""

from django.urls import path

from agent_api.views import public

urlpatterns = [
    path("<str:tenant>/.well-known/jwks.json", public.key_set, name="public-jwks"),
    path("<str:tenant>/status-lists/<str:number>", public.status_list, name="public-status-list"),
]

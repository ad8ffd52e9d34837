"""The dashboard's paths: a workspace's slug, then what is looked at. Fixed words come before slugs."""

from django.urls import path

from dashboard.views import agents, keys, licenses, overview, start

app_name = "dashboard"

urlpatterns = [
    path("", overview.overview, name="home"),
    path("start/", start.start, name="start"),
    path("<slug:slug>/", overview.overview, name="overview"),
    path("<slug:slug>/licenses/", licenses.licenses, name="licenses"),
    path("<slug:slug>/licenses/<str:license_id>/suspend/", licenses.suspend_license, name="license-suspend"),
    path("<slug:slug>/licenses/<str:license_id>/reinstate/", licenses.reinstate_license, name="license-reinstate"),
    path("<slug:slug>/licenses/<str:license_id>/revoke/", licenses.revoke_license, name="license-revoke"),
    path("<slug:slug>/agents/", agents.agents, name="agents"),
    path("<slug:slug>/agents/<str:agent_id>/suspend/", agents.suspend_agent, name="agent-suspend"),
    path("<slug:slug>/agents/<str:agent_id>/resume/", agents.resume_agent, name="agent-resume"),
    path("<slug:slug>/agents/<str:agent_id>/revoke/", agents.revoke_agent, name="agent-revoke"),
    path("<slug:slug>/keys/", keys.keys, name="keys"),
    path("<slug:slug>/keys/make/", keys.make_key, name="key-make"),
    path("<slug:slug>/keys/<str:key_id>/revoke/", keys.revoke_key, name="key-revoke"),
]

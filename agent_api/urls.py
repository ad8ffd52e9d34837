from django.urls import path

from agent_api.views.activations import ActivationsView, ActivationView, HeartbeatView
from agent_api.views.agents import RevokeSubAgentView, SubAgentsView
from agent_api.views.deciding import AuthorizeView, ValidateView
from agent_api.views.holds import ExtendView, HoldsView, ReleaseView, SettleView
from agent_api.views.tokens import TokensView
from agent_api.views.usage import QuotasView, SelfView, UsageView

urlpatterns = [
    path("validate", ValidateView.as_view(), name="agent-validate"),
    path("authorize", AuthorizeView.as_view(), name="agent-authorize"),
    path("usage", UsageView.as_view(), name="agent-usage"),
    path("holds", HoldsView.as_view(), name="agent-holds"),
    path("holds/<str:hold>/settle", SettleView.as_view(), name="agent-hold-settle"),
    path("holds/<str:hold>/release", ReleaseView.as_view(), name="agent-hold-release"),
    path("holds/<str:hold>/extend", ExtendView.as_view(), name="agent-hold-extend"),
    path("activations", ActivationsView.as_view(), name="agent-activations"),
    path("activations/<str:activation>", ActivationView.as_view(), name="agent-activation"),
    path("activations/<str:activation>/heartbeat", HeartbeatView.as_view(), name="agent-activation-heartbeat"),
    path("tokens", TokensView.as_view(), name="agent-tokens"),
    path("agents", SubAgentsView.as_view(), name="agent-agents"),
    path("agents/<str:agent>/revoke", RevokeSubAgentView.as_view(), name="agent-agent-revoke"),
    path("self", SelfView.as_view(), name="agent-self"),
    path("quotas", QuotasView.as_view(), name="agent-quotas"),
]

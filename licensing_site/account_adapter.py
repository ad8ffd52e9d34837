"""What allauth is told of this site beyond its settings."""

from allauth.account.adapter import DefaultAccountAdapter
from django.http import HttpRequest

from common.addresses import client_address


class AccountAdapter(DefaultAccountAdapter):
    """allauth's own, but for whom it takes for the caller: log-in attempts are counted by address."""

    def get_client_ip(self, request: HttpRequest) -> str:
        return client_address(request)

"""One endpoint."""

from django.urls import path

from benchmarks.peers.diy_django.views import AuthorizeView

urlpatterns = [path("authorize", AuthorizeView.as_view())]

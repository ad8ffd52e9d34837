"""The routes of AuthZEN, under `/access/v1/`."""

from django.urls import URLPattern, URLResolver, path

from vendor_api.access import views

urlpatterns: list[URLPattern | URLResolver] = [
    path("evaluation", views.EvaluationView.as_view()),
    path("evaluations", views.EvaluationsView.as_view()),
]

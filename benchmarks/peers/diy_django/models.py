"""Customers, licences, agents with keys, a quota on each level, and events."""

from django.db import models
from rest_framework_api_key.models import AbstractAPIKey


class Customer(models.Model):
    name = models.CharField(max_length=100)


class License(models.Model):
    customer = models.ForeignKey(Customer, on_delete=models.CASCADE)
    active = models.BooleanField(default=True)


class Agent(models.Model):
    license = models.ForeignKey(License, on_delete=models.CASCADE)
    name = models.CharField(max_length=100)


class AgentKey(AbstractAPIKey):
    agent = models.ForeignKey(Agent, on_delete=models.CASCADE)


class Quota(models.Model):
    """What one subject may use of one meter in the current month."""

    meter = models.CharField(max_length=50)
    level = models.CharField(max_length=10)
    subject_id = models.BigIntegerField()
    limit = models.DecimalField(max_digits=24, decimal_places=6)
    used = models.DecimalField(max_digits=24, decimal_places=6, default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["meter", "level", "subject_id"], name="one_quota_a_subject")]


class UsageEvent(models.Model):
    """One event per licence and idempotency key."""

    license = models.ForeignKey(License, on_delete=models.CASCADE)
    agent = models.ForeignKey(Agent, on_delete=models.CASCADE)
    meter = models.CharField(max_length=50)
    idempotency_key = models.CharField(max_length=100)
    quantity = models.DecimalField(max_digits=24, decimal_places=6)
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["license", "idempotency_key"], name="each_event_once")]

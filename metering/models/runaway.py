"""The runaway guard: whose rules hold, what an agent's past was like, and what the guard found and did."""

from typing import ClassVar

from django.db import models
from django.db.models import Q

from common.ids import Prefix
from common.quantities import QUANTITY_FIELD
from licenses.models import Agent, Plan
from metering.domain.runaway import RunawayAction, RunawayEffect, RunawayRule
from tenants.models import Tenant, TenantOwned, TenantQuerySet, enum_choices


class RunawayPolicy(TenantOwned):
    """The rules of a plan, for each agent under its licences, or those of one agent, which stand instead.

    An agent's empty list means that it is not watched, whatever its plans say; no row means that they hold.
    """

    id_prefix = Prefix.RUNAWAY_POLICY

    plan = models.ForeignKey(Plan, null=True, blank=True, on_delete=models.CASCADE, related_name="runaway_policies")
    agent = models.ForeignKey(Agent, null=True, blank=True, on_delete=models.CASCADE, related_name="runaway_policies")
    rules = models.JSONField(
        default=list,
        help_text='[{"rule", "limit", "window", "minimum_calls", "meter", "action", "throttle_to", "for"}]',
    )

    objects = TenantQuerySet["RunawayPolicy"].as_manager()

    class Meta:
        verbose_name_plural = "runaway policies"
        constraints: ClassVar = [
            models.CheckConstraint(
                name="runaway_policy_one_owner",
                condition=Q(plan__isnull=False, agent__isnull=True) | Q(plan__isnull=True, agent__isnull=False),
            ),
            models.UniqueConstraint(
                fields=["tenant", "plan"], name="runaway_policy_of_plan", condition=Q(plan__isnull=False)
            ),
            models.UniqueConstraint(
                fields=["tenant", "agent"], name="runaway_policy_of_agent", condition=Q(agent__isnull=False)
            ),
        ]

    def __str__(self) -> str:
        return f"{len(self.rules)} rules"


class RunawayIncident(TenantOwned):
    """An agent broke a rule, and what was done: one row for an agent, rule and episode. All times are real time.

    `rule_key` tells rules of an agent apart. An episode is open until `ended_at`; until `held_off_until` the rule does
    not fire again for the agent. `mark` is the reason that the guard gave to its suspension or throttle, by which it
    knows that nobody has changed it since; `previous` is the throttle that its own took the place of.
    """

    id_prefix = Prefix.RUNAWAY_INCIDENT

    agent = models.ForeignKey(Agent, on_delete=models.PROTECT, related_name="runaway_incidents")
    rule = models.CharField(max_length=24, choices=enum_choices(RunawayRule))
    rule_key = models.CharField(max_length=100)
    action = models.CharField(max_length=8, choices=enum_choices(RunawayAction))
    effect = models.CharField(max_length=12, choices=enum_choices(RunawayEffect), default=RunawayEffect.NONE)
    terms = models.JSONField(help_text="The rule as it was.")
    observed = models.DecimalField(**QUANTITY_FIELD)
    threshold = models.DecimalField(**QUANTITY_FIELD)
    evidence = models.JSONField(default=dict)
    mark = models.CharField(max_length=500, blank=True)
    throttle = models.JSONField(null=True, blank=True)
    previous = models.JSONField(null=True, blank=True)
    detected_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    held_off_until = models.DateTimeField(null=True, blank=True)
    undone_at = models.DateTimeField(null=True, blank=True)
    undone_by = models.CharField(max_length=200, blank=True)
    undo_reason = models.CharField(max_length=500, blank=True)

    objects = TenantQuerySet["RunawayIncident"].as_manager()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["tenant", "agent", "rule_key"], name="runaway_once_per_episode", condition=Q(ended_at=None)
            ),
            models.CheckConstraint(
                name="runaway_undone_is_over", condition=Q(undone_at=None) | Q(ended_at__isnull=False)
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["tenant", "-created_at", "-id"], name="runaway_newest"),
            models.Index(fields=["tenant", "agent", "-detected_at"], name="runaway_of_agent"),
            models.Index(fields=["tenant"], name="runaway_open", condition=Q(ended_at=None)),
        ]

    def __str__(self) -> str:
        return f"{self.rule}: {self.observed}"


class CallProfile(models.Model):
    """An agent's busiest minutes by hour, over a week: `peaks` maps whole hours since 1970 to calls a minute."""

    agent = models.OneToOneField(Agent, on_delete=models.CASCADE, primary_key=True, related_name="+")
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, db_index=False, related_name="+")
    first_hour = models.PositiveIntegerField()
    peaks = models.JSONField(default=dict)

    objects = TenantQuerySet["CallProfile"].as_manager()

    class Meta:
        indexes: ClassVar = [models.Index(fields=["tenant"], name="call_profiles")]

    def __str__(self) -> str:
        return f"{len(self.peaks)} hours"

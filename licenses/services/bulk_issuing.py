"""Many licences at once: each is issued or refused by itself, and all are written together."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import transaction

from common.errors import Conflict, Invalid, Problem
from licenses.services.issuing import IssuedLicense
from licenses.services.license_drafts import LicenseDraft, PlanBook, draft_license, store_drafts
from tenants.domain.actors import Actor
from tenants.domain.enums import CustomerStatus
from tenants.models import Customer, Tenant
from tenants.services import fields
from tenants.services.bulk_customers import NewCustomer, ensure_customers, find_customers
from tenants.services.locks import lock_configuration

Checked = tuple[LicenseDraft, str | NewCustomer]


def issue_licenses(
    *, tenant: Tenant, actor: Actor, items: Sequence[Mapping[str, Any]]
) -> list[IssuedLicense | Problem]:
    """Issue a licence for each of `items` (what `issue_license` takes; customers by id, external id or as a map).

    What is wrong with one is its result and leaves the others alone, its customer is not made then. One transaction,
    and as few statements as for one licence. Raises RevocationPending.
    """
    results: list[IssuedLicense | Problem] = []
    checked: dict[int, Checked] = {}
    with transaction.atomic():
        lock_configuration(tenant.id)
        book = PlanBook(tenant)
        for place, item in enumerate(items):
            try:
                checked[place] = _check(book, item)
            except Problem as problem:
                results.append(problem)
            else:
                results.append(IssuedLicense(checked[place][0].license, checked[place][0].license_key))
        named = {who for _, who in checked.values() if isinstance(who, str)}
        wanted = [who for _, who in checked.values() if isinstance(who, NewCustomer)]
        known = find_customers(tenant, named)
        made = ensure_customers(tenant=tenant, actor=actor, wanted=wanted)
        drafts: list[tuple[LicenseDraft, Customer]] = []
        for place, (draft, who) in checked.items():
            holder = made[who.external_id] if isinstance(who, NewCustomer) else known.get(who)
            refusal = _refusal(holder)
            if holder is None or refusal is not None:
                results[place] = refusal or _unknown()
            else:
                drafts.append((draft, holder))
        store_drafts(tenant, actor, drafts)
    return results


def _check(book: PlanBook, item: Mapping[str, Any]) -> Checked:
    asked = dict(item)
    customer = asked.pop("customer", None)
    if isinstance(customer, Mapping):
        fields.only_keys(customer, "customer", {"external_id", "name", "email"})
        who: str | NewCustomer = NewCustomer(
            external_id=fields.external_id(customer.get("external_id"), "customer.external_id"),
            name=fields.text(customer.get("name", ""), "customer.name", blank=True),
            email=fields.email(customer.get("email", ""), "customer.email"),
        )
    elif isinstance(customer, str):
        who = customer
    else:
        raise _unknown()
    return draft_license(book, **asked), who


def _refusal(holder: Customer | None) -> Problem | None:
    if holder is None:
        return _unknown()
    if holder.status == CustomerStatus.ARCHIVED:
        return Conflict("customer_archived", "The customer is archived. Reinstate it to issue a license to it.")
    return None


def _unknown() -> Invalid:
    return Invalid.field("customer", "not_found", "No customer has this id or external id.")

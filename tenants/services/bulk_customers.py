"""Many customers at once: found, and made where they are not there yet."""

from collections.abc import Collection, Iterable
from typing import NamedTuple
from uuid import UUID

from django.db import transaction
from django.db.models import Q

from common.ids import Prefix, parse_any_id
from common.text import TextError, check_text
from tenants.domain.actors import Actor
from tenants.models import Customer, Tenant
from tenants.services.auditing import AuditNote, record_audits


class NewCustomer(NamedTuple):
    """A customer who is to be there; fields as they are stored."""

    external_id: str
    name: str = ""
    email: str = ""


def find_customers(tenant: Tenant, references: Collection[str]) -> dict[str, Customer]:
    """The customers whom these ids and external ids name, by reference; whom nobody has is left out."""
    ids: dict[str, UUID] = {}
    external: list[str] = []
    for reference in references:
        parsed = parse_any_id(reference)
        if parsed is None and _storable(reference):
            external.append(reference)
        elif parsed is not None and parsed[0] == Prefix.CUSTOMER:
            ids[reference] = parsed[1]
    found = Customer.objects.for_tenant(tenant).filter(Q(pk__in=ids.values()) | Q(external_id__in=external))
    by_name: dict[UUID | str, Customer] = {}
    for customer in found:
        by_name[customer.id] = by_name[customer.external_id] = customer
    names: dict[str, UUID | str] = {**ids, **{reference: reference for reference in external}}
    return {reference: by_name[name] for reference, name in names.items() if name in by_name}


def ensure_customers(*, tenant: Tenant, actor: Actor, wanted: Iterable[NewCustomer]) -> dict[str, Customer]:
    """The customers of these external ids, made where there are none, by external id.

    One who exists is left as they are, whatever name is given; of two that are wanted under one id the first counts.
    Whoever makes the same ones at the same time waits.
    """
    first: dict[str, NewCustomer] = {}
    for each in wanted:
        first.setdefault(each.external_id, each)
    if not first:
        return {}
    with transaction.atomic():
        known = find_customers(tenant, first)
        missing = [
            Customer(tenant=tenant, external_id=each.external_id, name=each.name, email=each.email)
            # One order for everybody: these rows wait for others of the same name.
            for each in sorted(first.values())
            if each.external_id not in known
        ]
        Customer.objects.bulk_create(missing, ignore_conflicts=True)
        if missing:
            known = find_customers(tenant, first)
        made = [customer for customer in missing if known[customer.external_id].id == customer.id]
        record_audits(tenant.id, actor, (_note(customer) for customer in made))
    return known


def _note(customer: Customer) -> AuditNote:
    changes = {"external_id": [None, customer.external_id], "name": [None, customer.name]}
    return AuditNote("customer.created", customer, changes)


def _storable(reference: str) -> bool:
    try:
        check_text(reference, max_length=200)
    except TextError:
        return False
    return True

"""Moving licences in and out by CSV, with the commands as an operator runs them."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from common.crypto import license_key_digests, normalize_license_key
from licenses.models import License
from licenses.selectors.licenses import carried_plans
from licenses.services import license_import
from licenses.services.license_states import revoke_license, suspend_license
from tenants.models import AuditEntry, Customer, OutboxEvent, Tenant
from tests.factories import ACTOR, make_customer, make_license, make_plan, make_product, make_workspace
from tests.parallel import at_once

pytestmark = pytest.mark.django_db

GOOD = """reference,external_id,customer_name,customer_email,plan,expires_at,metadata
crm-1,acme,Acme,it@acme.example,pro,2027-06-30,"{""team"": ""search""}"
crm-2,acme,,,pro,never,
crm-3,globex,Globex,,pro,,"{
""seats"": 3}"
"""


class Place:
    """A workspace with the plan `pro`, and files beside it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tenant: Tenant = make_workspace()
        self.plan = make_plan(make_product(self.tenant), code="pro", term={"months": 12})

    def write(self, text: str, name: str = "licenses.csv") -> Path:
        file = self.path / name
        file.write_text(text, encoding="utf-8")
        return file

    def run(self, file: Path, **options: Any) -> tuple[int, str, list[str]]:
        out, err = io.StringIO(), io.StringIO()
        status = 0
        try:
            call_command("import_licenses", str(file), tenant=self.tenant.slug, stdout=out, stderr=err, **options)
        except SystemExit as ended:
            status = int(str(ended.code))
        return status, out.getvalue().strip(), err.getvalue().splitlines()

    def licenses(self) -> list[License]:
        return list(License.objects.for_tenant(self.tenant).select_related("customer").order_by("id"))

    def export(self) -> str:
        out = io.StringIO()
        call_command("export_licenses", tenant=self.tenant.slug, stdout=out)
        return out.getvalue()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_import__good_lines__licences_with_their_customers(place: Place) -> None:
    assert place.run(place.write(GOOD)) == (0, "3 issued, 0 there already, 0 rejected.", [])

    first, second, third = place.licenses()
    assert (first.customer.external_id, first.customer.name, first.customer.email) == (
        "acme",
        "Acme",
        "it@acme.example",
    )
    assert first.metadata == {"team": "search", "reference": "crm-1"}
    assert first.expires_at is not None
    assert first.expires_at.isoformat() == "2027-06-30T00:00:00+00:00"
    assert (second.customer_id, second.expires_at) == (first.customer_id, None)
    assert third.expires_at is not None
    assert carried_plans(third).base == place.plan
    assert Customer.objects.for_tenant(place.tenant).count() == 2


def test_import__again__adds_what_is_new_only(place: Place) -> None:
    place.run(place.write(GOOD))
    more = place.write(GOOD + "crm-4,initech,,,pro,,\n")

    assert place.run(more) == (0, "1 issued, 3 there already, 0 rejected.", [])
    assert len(place.licenses()) == 4


def test_import__dry_run__says_the_same_and_writes_nothing(place: Place) -> None:
    trail = AuditEntry.objects.for_tenant(place.tenant).count()
    file = place.write(GOOD + "crm-5,acme,,,gold,,\n")

    status, out, err = place.run(file, dry_run=True, keys=place.path / "keys.csv")

    assert (status, out) == (1, "3 would be issued, 0 there already, 1 rejected.")
    assert err == ["line 6: plan: No plan has the id or code 'gold'."]
    assert place.licenses() == []
    assert not Customer.objects.for_tenant(place.tenant).exists()
    assert AuditEntry.objects.for_tenant(place.tenant).count() == trail
    assert not OutboxEvent.objects.for_tenant(place.tenant).exists()
    assert [each.name for each in place.path.iterdir()] == ["licenses.csv"]


def test_import__bad_lines__told_by_number_kept_aside_and_mended_later(place: Place) -> None:
    make_plan(place.plan.product, code="more")
    text = GOOD + (
        "crm-1,acme,,,pro,,\n"
        ",acme,,,pro,,\n"
        "crm-6,acme,,,gold,,\n"
        "crm-7,acme,,,pro,soon,\n"
        "crm-8,acme,,no address,pro,,\n"
        "crm-9,acme,,,pro,,,,\n"
        'crm-10,acme,,,pro,,"{""a"": [1]}"\n'
    )

    status, out, err = place.run(place.write(text))

    assert (status, out) == (1, "3 issued, 0 there already, 7 rejected.")
    assert err[:-1] == [
        "line 6: reference: Line 2 has this reference already.",
        "line 7: reference: This cell cannot be empty.",
        "line 8: plan: No plan has the id or code 'gold'.",
        "line 9: expires_at: A time is a day such as 2027-01-31, or a time such as 2027-01-31T12:00:00Z.",
        "line 10: customer_email: This is no e-mail address.",
        "line 11: The line has more cells than the header.",
        "line 12: metadata: A value is a text, a number, true, false or null.",
    ]
    rejects = place.path / "licenses.csv.rejects.csv"
    assert err[-1] == f"The bad lines are in {rejects}."
    rows = list(csv.DictReader(rejects.open(encoding="utf-8", newline="")))
    assert [(row["line"], row["column"], row["code"]) for row in rows[2:4]] == [
        ("8", "plan", "not_found"),
        ("9", "expires_at", "invalid_time"),
    ]

    with rejects.open(encoding="utf-8", newline="") as kept:
        lines = list(csv.reader(kept))
    mended = [lines[0], *([*line[:4], "pro", "", "", *line[7:]] for line in lines[3:5])]
    target = place.path / "mended.csv"
    with target.open("w", encoding="utf-8", newline="") as out_file:
        csv.writer(out_file).writerows(mended)
    assert place.run(target) == (0, "2 issued, 0 there already, 0 rejected.", [])


def test_import__keys__in_a_file_for_nobody_else(place: Place) -> None:
    keys = place.path / "keys.csv"

    place.run(place.write(GOOD), keys=keys)

    assert keys.stat().st_mode & 0o777 == 0o600
    rows = list(csv.DictReader(keys.open(encoding="utf-8", newline="")))
    assert [row["reference"] for row in rows] == ["crm-1", "crm-2", "crm-3"]
    for row, license in zip(rows, place.licenses(), strict=True):
        normalized = normalize_license_key(row["license_key"])
        assert normalized is not None
        assert bytes(license.key_digest or b"") in [digest for _, digest in license_key_digests(normalized)]
    with pytest.raises(CommandError, match="exists already"):
        place.run(place.write(GOOD), keys=keys)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "reference is missing"),
        ("reference;external_id;plan\n", "is missing"),
        ("reference,external_id,plan,price\n", "'price' is not known"),
        ('reference,external_id,plan\n"r,acme', "Line"),
    ],
)
def test_import__file_that_is_none__refused_as_a_whole(place: Place, text: str, words: str) -> None:
    with pytest.raises(CommandError, match=words):
        place.run(place.write(text))
    assert place.licenses() == []


def test_import__no_file_no_workspace_no_utf8__refused(place: Place) -> None:
    with pytest.raises(CommandError, match="No such file"):
        place.run(place.path / "none.csv")
    with pytest.raises(CommandError, match="no workspace"):
        call_command("import_licenses", str(place.write(GOOD)), tenant="nobody")
    broken = place.path / "latin.csv"
    broken.write_bytes(b"reference,external_id,plan\nr,M\xfcller,pro\n")
    with pytest.raises(CommandError, match="not UTF-8"):
        place.run(broken)


def test_import__byte_order_mark__is_no_part_of_the_header(place: Place) -> None:
    assert place.run(place.write("\ufeff" + GOOD))[0] == 0


def test_export__imported_elsewhere__says_the_same(place: Place, tmp_path: Path) -> None:
    place.run(place.write(GOOD))
    formula = make_license(place.plan, make_customer(place.tenant, external_id="=1+1", name="@evil"))
    suspend_license(tenant=place.tenant, license_id=place.licenses()[0].id, actor=ACTOR)
    revoked = make_license(place.plan)
    revoke_license(tenant=place.tenant, license_id=revoked.id, actor=ACTOR)
    exported = place.export()
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in csv.reader(io.StringIO(exported)) for cell in row)

    assert place.run(place.write(exported))[1] == "0 issued, 4 there already, 1 rejected."

    (tmp_path / "other").mkdir()
    other = Place(tmp_path / "other")
    status, out, err = other.run(other.write(exported))
    assert (status, out) == (1, "4 issued, 0 there already, 1 rejected.")
    assert err[0].startswith("line 6: status: A revoked license does not come back")
    mine = [
        (each.customer.external_id, each.customer.name, each.status, each.starts_at, each.expires_at)
        for each in place.licenses()
        if each.status != "revoked"
    ]
    theirs = [
        (each.customer.external_id, each.customer.name, each.status, each.starts_at, each.expires_at)
        for each in other.licenses()
    ]
    assert theirs == mine
    assert other.licenses()[3].metadata == {"reference": formula.public_id}


def test_export__status_and_plans__as_they_are_shown(place: Place) -> None:
    make_plan(place.plan.product, code="more")
    make_license(place.plan, add_ons=["more"], kind="signed")

    [row] = csv.DictReader(io.StringIO(place.export()))

    assert (row["plan"], row["add_ons"], row["kind"], row["status"]) == ("pro", "more", "signed", "active")


@pytest.mark.django_db(transaction=True)
def test_import__four_at_once_in_small_chunks__each_licence_once(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(license_import, "CHUNK", 7)
    lines = "".join(f"r{number},c{number % 5},pro\n" for number in range(40))
    file = place.write("reference,external_id,plan\n" + lines)

    def run() -> int:
        with file.open(encoding="utf-8", newline="") as text:
            report = license_import.import_licenses(
                tenant=place.tenant, actor=ACTOR, lines=license_import.read_lines(text)
            )
        assert report.rejects == []
        return len(report.imported)

    counts = at_once([run] * 4)

    assert sum(count for count in counts if isinstance(count, int)) == 40
    assert sorted(license.metadata["reference"] for license in place.licenses()) == sorted(f"r{n}" for n in range(40))
    assert Customer.objects.for_tenant(place.tenant).count() == 5

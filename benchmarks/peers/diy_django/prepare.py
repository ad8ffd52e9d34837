"""Make the tables, and so many agents with a licence, a customer and three quotas each; their keys go to stdout."""

import os
import sys

os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.peers.diy_django.settings"

import django

django.setup()

from django.core.management import call_command

from benchmarks.peers.diy_django.models import Agent, AgentKey, Customer, License, Quota


def main(agents: int) -> None:
    """One key a line."""
    call_command("migrate", run_syncdb=True, verbosity=0)
    for number in range(agents):
        customer = Customer.objects.create(name=f"c{number}")
        license = License.objects.create(customer=customer)
        agent = Agent.objects.create(license=license, name=f"a{number}")
        for level, subject in (("agent", agent), ("license", license), ("customer", customer)):
            Quota.objects.create(meter="tokens", level=level, subject_id=subject.pk, limit=10**12)
        _, key = AgentKey.objects.create_key(name=f"k{number}", agent=agent)
        print(key)


if __name__ == "__main__":
    main(int(sys.argv[1]))

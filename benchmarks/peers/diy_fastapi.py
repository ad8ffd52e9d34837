"""The stack that one would glue together with FastAPI: SQLAlchemy's asyncio side on asyncpg, slowapi, pydantic.

authorize: key, rate limits, idempotency key, three quotas checked and counted, a durable event; one statement for the
key, and two in a transaction. `python -m benchmarks.peers.diy_fastapi AGENTS` makes tables and agents; keys to stdout.
"""

import asyncio
import hashlib
import os
import secrets
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from fastapi import Depends, FastAPI, HTTPException, Request
from pydantic import BaseModel, Field
from slowapi import Limiter, _rate_limit_exceeded_handler
from slowapi.errors import RateLimitExceeded
from sqlalchemy import DateTime, ForeignKey, Numeric, String, UniqueConstraint, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

RATE = "6000000/minute"
#: Connections of each process; more of them only queue inside PostgreSQL.
POOL = 16

_engine = create_async_engine(
    os.environ["DIY_DATABASE_URL"].replace("postgresql://", "postgresql+asyncpg://", 1), pool_size=POOL, max_overflow=0
)
# What only reads needs no transaction around it.
_reading = _engine.execution_options(isolation_level="AUTOCOMMIT")
_sessions = async_sessionmaker(_engine, expire_on_commit=False)


class Base(DeclarativeBase):
    """The tables."""


class Customer(Base):
    __tablename__ = "customer"
    id: Mapped[int] = mapped_column(primary_key=True)


class License(Base):
    __tablename__ = "license"
    id: Mapped[int] = mapped_column(primary_key=True)
    customer_id: Mapped[int] = mapped_column(ForeignKey("customer.id"))
    active: Mapped[bool] = mapped_column(default=True)


class Agent(Base):
    __tablename__ = "agent"
    id: Mapped[int] = mapped_column(primary_key=True)
    license_id: Mapped[int] = mapped_column(ForeignKey("license.id"))
    key_hash: Mapped[str] = mapped_column(String(64), unique=True)


class Quota(Base):
    __tablename__ = "quota"
    meter: Mapped[str] = mapped_column(String(50), primary_key=True)
    level: Mapped[str] = mapped_column(String(10), primary_key=True)
    subject_id: Mapped[int] = mapped_column(primary_key=True)
    limit: Mapped[Decimal] = mapped_column(Numeric(24, 6))
    used: Mapped[Decimal] = mapped_column(Numeric(24, 6), default=0)


class UsageEvent(Base):
    __tablename__ = "usage_event"
    __table_args__ = (UniqueConstraint("license_id", "idempotency_key"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    license_id: Mapped[int] = mapped_column(ForeignKey("license.id"))
    agent_id: Mapped[int] = mapped_column(ForeignKey("agent.id"))
    meter: Mapped[str] = mapped_column(String(50))
    idempotency_key: Mapped[str] = mapped_column(String(100))
    quantity: Mapped[Decimal] = mapped_column(Numeric(24, 6))
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class Usage(BaseModel):
    meter: str = Field(max_length=50)
    quantity: Decimal = Field(ge=0)


class Asked(BaseModel):
    id: str = Field(max_length=100)
    usage: list[Usage] = Field(min_length=1, max_length=1)


class Answer(BaseModel):
    allowed: bool
    code: str = "allowed"
    replayed: bool = False
    id: str


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


async def caller(request: Request) -> Any:
    """Who holds the key: ids of agent, licence and customer."""
    key = request.headers.get("authorization", "").removeprefix("Bearer ")
    asked = (
        select(Agent.id, Agent.license_id, License.customer_id)
        .join(License, License.id == Agent.license_id)
        .where(Agent.key_hash == _hash(key), License.active)
    )
    async with _reading.connect() as connection:
        found = (await connection.execute(asked)).first()
    if found is None:
        raise HTTPException(401)
    request.state.caller = found
    return found


@asynccontextmanager
async def _life(_app: FastAPI) -> AsyncIterator[None]:
    yield
    await _engine.dispose()


# Shared by the processes, as limits have to be.
limiter = Limiter(
    key_func=lambda request: str(request.state.caller.id),
    storage_uri=os.environ["REDIS_URL"].replace("unix://", "redis+unix://", 1),
)
application = FastAPI(lifespan=_life)
application.state.limiter = limiter
application.add_exception_handler(RateLimitExceeded, _rate_limit_exceeded_handler)


def _license_of(request: Request) -> str:
    return f"license-{request.state.caller.license_id}"


@application.post("/authorize")
@limiter.limit(RATE)
@limiter.limit(RATE, key_func=_license_of)
async def authorize(request: Request, asked: Asked, who: Any = Depends(caller)) -> Answer:  # noqa: ARG001, B008 - how the two libraries want it
    """Insert the event unless it is there, then count on all three levels at once, or undo both."""
    [usage] = asked.usage
    subjects = [("agent", who.id), ("license", who.license_id), ("customer", who.customer_id)]
    async with _sessions() as session:
        made = await session.execute(
            insert(UsageEvent)
            .values(
                license_id=who.license_id,
                agent_id=who.id,
                meter=usage.meter,
                idempotency_key=asked.id,
                quantity=usage.quantity,
                at=datetime.now(UTC),
            )
            .on_conflict_do_nothing()
            .returning(UsageEvent.id)
        )
        if made.first() is None:
            return Answer(allowed=True, replayed=True, id=asked.id)
        counted: Any = await session.execute(
            update(Quota)
            .where(Quota.meter == usage.meter, tuple_(Quota.level, Quota.subject_id).in_(subjects))
            .where(Quota.used + usage.quantity <= Quota.limit)
            .values(used=Quota.used + usage.quantity),
            execution_options={"synchronize_session": False},
        )
        if counted.rowcount != len(subjects):
            await session.rollback()
            return Answer(allowed=False, code="quota_exceeded", id=asked.id)
        await session.commit()
    return Answer(allowed=True, id=asked.id)


async def _prepare(agents: int) -> None:
    async with _engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    async with _sessions() as session:
        for number in range(1, agents + 1):
            key = secrets.token_urlsafe(24)
            session.add(Customer(id=number))
            await session.flush()
            session.add(License(id=number, customer_id=number))
            await session.flush()
            session.add(Agent(id=number, license_id=number, key_hash=_hash(key)))
            for level in ("agent", "license", "customer"):
                session.add(Quota(meter="tokens", level=level, subject_id=number, limit=Decimal(10**12)))
            print(key)
        await session.commit()
    await _engine.dispose()


if __name__ == "__main__":
    asyncio.run(_prepare(int(sys.argv[1])))

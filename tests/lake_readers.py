"""Reads the tables of a tenant with two readers that know nothing of Everflame, and prints totals as JSON.

usage: python lake_readers.py TENANT_FOLDER_OR_URL

{"deltalake": {TYPE: {SERVICE: total}}, "polars": the same, "self": {TYPE: {FUNCTION: total}},
 "tiers": {TABLE: {TYPE: {SERVICE: total}}}}

"deltalake" is SQL in the deltalake package, "polars" a scan with Polars; "self" joins samples and stacks
with Polars and sums by the function at the leaf; "tiers" has each table of sums that is there.
"""

import json
import os
import sys

import polars as pl
from deltalake import DeltaTable, QueryBuilder


# Endpoint and credentials of a bucket.
OPTIONS = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}


def nested(rows):
    totals = {}
    for profile_type, key, total in rows:
        totals.setdefault(profile_type, {})[key] = total
    return totals


def by_deltalake(folder):
    query = QueryBuilder().register("samples", DeltaTable(f"{folder}/samples", storage_options=OPTIONS))
    answer = query.execute(
        "SELECT profile_type, service, CAST(SUM(value) AS BIGINT) AS total FROM samples GROUP BY profile_type, service"
    )
    return nested(pl.DataFrame(answer.read_all()).iter_rows())


def by_polars(folder, table="samples"):
    samples = pl.scan_delta(f"{folder}/{table}", storage_options=OPTIONS)
    totals = samples.group_by("profile_type", "service").agg(pl.col("value").sum())
    return nested(totals.collect().iter_rows())


def self_by_polars(folder):
    samples = pl.scan_delta(f"{folder}/samples", storage_options=OPTIONS).select("service", "profile_type", "stack_id", "value")
    stacks = pl.scan_delta(f"{folder}/stacks", storage_options=OPTIONS).select(
        "service", "stack_id", pl.col("frames").list.first().struct.field("function").alias("function")
    )
    # A stack that a crash made the writer store twice must not count twice.
    stacks = stacks.unique(["service", "stack_id"])
    joined = samples.join(stacks, on=["service", "stack_id"], how="left")
    totals = joined.group_by("profile_type", "function").agg(pl.col("value").sum())
    return nested(totals.collect().iter_rows())


def tiers_by_polars(folder):
    names = [f"samples_{window}{level}" for window in ("5m", "1h", "1d") for level in ("", "_service")]
    there = [name for name in names if DeltaTable.is_deltatable(f"{folder}/{name}", storage_options=OPTIONS)]
    return {name: by_polars(folder, name) for name in there}


def main():
    folder = sys.argv[1]
    json.dump(
        {
            "deltalake": by_deltalake(folder),
            "polars": by_polars(folder),
            "self": self_by_polars(folder),
            "tiers": tiers_by_polars(folder),
        },
        sys.stdout,
    )


if __name__ == "__main__":
    main()

"""Durable work carried out by DBOS on PostgreSQL. Imported by the `work` process only.

Doors, commands and the supervisor start and look at runs through `backends.database.runs`; the library
and what it brings (SQLAlchemy, psycopg) are loaded in the process that carries runs out, and in the
short-lived one that makes the schema.
"""

"""The rooms. Each owns its rules behind `api.py`; imports run down: archive > patients > peers > tenants."""

"""The demo: a sample ledger and sample metrics made from a seed, with the truth beside them."""

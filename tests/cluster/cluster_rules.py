"""What every node of the tests is: small, and on 127.0.0.1."""

RULES = {"num_cpus": 1, "node_ip_address": "127.0.0.1", "include_dashboard": False, "object_store_memory": 80 * 2**20}

from prominence.description import JobPolicies, WorkflowPolicies

__all__ = ["JobPolicies", "WorkflowPolicies"]

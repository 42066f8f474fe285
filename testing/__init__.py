"""What every member of a registry promises, as tests that a package outside the tree can run too.

Each is a test class to subclass, with a fixture that yields the member.

clouds       CloudSuite: `harness`, the cloud and what makes its vendor misbehave
estimators   EstimatorSuite: `estimator`
guardrails   GuardrailSuite: `guardrail`, a rule with a value that forbids and one that allows
"""

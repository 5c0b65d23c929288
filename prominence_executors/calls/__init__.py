"""A function call as a job: packed here, run by the runner there, brought back here."""

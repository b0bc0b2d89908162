"""What stands before and behind the model: redaction, rules for emergencies, the last turn."""

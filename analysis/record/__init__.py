"""Reading a record, from MLflow or from an exported folder, as plain data."""

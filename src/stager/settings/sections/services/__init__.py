"""The services beside an application: its database, workers, jobs."""

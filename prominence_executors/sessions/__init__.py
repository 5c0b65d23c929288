"""Named sessions: what they keep with the service, who drives them, and how their futures are made again."""

"""What is known: answers that this process may give without asking Redis.

`near_cache` keeps the records that were read, `unknown_cache` the ids that have none, and
`end_timer` drops records when they end. None of these asks Redis: `csms_redis.lookup.reading` fills
them, and drops what Redis says has changed.
"""

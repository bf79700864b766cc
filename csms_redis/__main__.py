from csms_redis.cli import main

main()

"""A server of S3 for the tests, with a bucket `lake`, a key that may read and write it, and one that may only list it. Says
in a line of JSON where it is, and with which keys; then puts each file that a line of its input names, and says when it
has. Ends with its input. Knows nothing of warehouses."""

import json
import logging
import sys
import urllib.request

import boto3
from moto.server import ThreadedMotoServer

logging.disable(logging.CRITICAL)
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
server.start()
host, port = server.get_host_and_port()
url = f"http://127.0.0.1:{port}"


def client(service, key):
    return boto3.client(
        service, endpoint_url=url, region_name="us-east-1", aws_access_key_id=key[0], aws_secret_access_key=key[1]
    )


def key(user, action):
    users = client("iam", ["first", "first"])
    users.create_user(UserName=user)
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": action, "Resource": "*"}]}
    users.put_user_policy(UserName=user, PolicyName="may", PolicyDocument=json.dumps(policy))
    made = users.create_access_key(UserName=user)["AccessKey"]
    return [made["AccessKeyId"], made["SecretAccessKey"]]


client("s3", ["first", "first"]).create_bucket(Bucket="lake")
writes, lists = key("writer", "s3:*"), key("reader", "s3:ListBucket")
# From now on whoever asks needs a key.
refuse = urllib.request.Request(f"{url}/moto-api/reset-auth", b"0", {"Content-Type": "text/plain"})
urllib.request.urlopen(refuse).read()
print(json.dumps({"url": url, "writes": writes, "lists": lists}), flush=True)
bucket = client("s3", writes)
for line in sys.stdin:
    put = json.loads(line)
    with open(put["file"], "rb") as content:
        bucket.put_object(Bucket="lake", Key=put["key"], Body=content.read())
    print("{}", flush=True)
server.stop()

# What differs between two runs of one command because of when and where it ran, not because of the way to the cluster:
# times, ages and durations, identifiers, resource versions, random names, addresses and ports that were given out.
# The tests themselves replace the names of their two namespaces, their folders and the two servers' addresses first.

# Times: RFC 3339, those of `describe`, of HTTP dates, of diff.
s/[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?( ?(Z|[+-][0-9]{2}:?[0-9]{2}))?/TIME/g
s/(Mon|Tue|Wed|Thu|Fri|Sat|Sun), [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9:]{8} (GMT|[+-][0-9]{4})/TIME/g

# Identifiers.
s/\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b/UID/g
s/(containerd|sha256):(\/\/)?[0-9a-f]{64}/\1:ID/g
s/(resourceVersion\\?"?[:=] ?\\?"?)[0-9]+/\1VERSION/g
s/(ResourceVersion: +)[0-9]+/\1VERSION/
s/eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+/TOKEN/g

# Ages in columns and sentences.
s/\b[0-9]{1,3}(d([0-9]+h)?|h([0-9]+m)?|m([0-9]+s)?|s)\b/AGE/g
s/ \(x[0-9]+ over AGE\)//

# The two ways sign in as two people.
s/hawser:root@example\.com/USER/g
s/(kube-apiserver-client +)admin /\1USER /
s/\b(name|user): "?(admin|root@example\.com)"?$/\1: USER/

s/\b(exec "|pod |X509SHA256=)[0-9a-f]{64}\b/\1ID/g

# What klog and a port-forward put before a message.
s/^[IWE][0-9]{4} [0-9:.]{15} +[0-9]+ /LOG /
s/Handling connection for [0-9]+/Handling connection for PORT/

# Hashes of pod templates that hold a time (`rollout restart`).
s/(pod-template-hash[=:] ?|\bweb-)[bcdfghjklmnpqrstvwxz2456789]{7,10}\b/\1HASH/g

# Random suffixes of generated names, and of the hexadecimal names of events.
s/-[bcdfghjklmnpqrstvwxz2456789]{5}\b/-RANDOM/g
s/\.[0-9a-f]{16}\b/.RANDOM/g

# Addresses of pods and services, and local ports.
s/\b10\.(244|96)\.[0-9]{1,3}\.[0-9]{1,3}\b/ADDRESS/g
s/(127\.0\.0\.1|\[::1\]|localhost):[0-9]{4,5}/\1:PORT/g

# Progress whose lines depend on how fast the cluster is.
/^Waiting for (deployment|daemon set|[0-9]+ pods)/d

# `cp` may end before it has printed what the pod's tar says.
/^tar: /d

# Columns are as wide as what was scrubbed in them.
s/([^ ]) {2,}/\1  /g

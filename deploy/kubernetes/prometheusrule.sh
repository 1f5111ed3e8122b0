#!/bin/sh
# The alerts of deploy/prometheus as an object of the Prometheus Operator:
#   deploy/kubernetes/prometheusrule.sh | kubectl apply -f -
set -eu
cat <<'HEAD'
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: bulksend
  namespace: bulksend
spec:
HEAD
sed 's/^\(.\)/  \1/' "$(dirname "$0")/../prometheus/bulksend.rules.yml"

module hawser.test/cluster/metrics

go 1.26.0

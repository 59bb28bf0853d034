module macp-auth-operator/toolchain/pod

go 1.26.0

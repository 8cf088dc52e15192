module example.org/go-port

go 1.22

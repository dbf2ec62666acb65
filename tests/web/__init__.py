"""HTTP as strangers see it: the real server, asked over real sockets."""

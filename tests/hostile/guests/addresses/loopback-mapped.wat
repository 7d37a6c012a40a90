;; The same as an IPv4 address within IPv6.
;; kind: change-source
;; grants: http = ["*"]
;; expect: ends address
(func (export "change-source#poll") (param i32 i32 i32 i32) (result i32)
  (call $get (text "http://[::ffff:127.0.0.1]:{port}/")))

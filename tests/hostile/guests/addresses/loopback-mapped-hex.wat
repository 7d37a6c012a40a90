;; The same, spelled in hexadecimal.
;; kind: change-source
;; grants: http = ["*"]
;; expect: ends address
(func (export "change-source#poll") (param i32 i32 i32 i32) (result i32)
  (call $get (text "http://[::ffff:7f00:1]:{port}/")))

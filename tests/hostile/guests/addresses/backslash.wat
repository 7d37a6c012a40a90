;; A URL that ends its host at a backslash, or does not.
;; kind: change-source
;; grants: http = ["*"]
;; expect: ends address
(func (export "change-source#poll") (param i32 i32 i32 i32) (result i32)
  (call $get (text "http://127.0.0.1:{port}\\@granted.example.org/")))

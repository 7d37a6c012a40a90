;; A granted host as the user name of another.
;; kind: change-source
;; grants: http = ["*"]
;; expect: ends a user name
(func (export "change-source#poll") (param i32 i32 i32 i32) (result i32)
  (call $get (text "http://granted.example.org@127.0.0.1:{port}/")))

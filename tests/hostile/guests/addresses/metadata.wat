;; The place where a cloud tells a machine its keys.
;; kind: change-source
;; grants: http = ["*"]
;; expect: ends address
(func (export "change-source#poll") (param i32 i32 i32 i32) (result i32)
  (call $get (text "http://169.254.169.254/latest/meta-data/")))

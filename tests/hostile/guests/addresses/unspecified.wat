;; The address that is no address, which systems take for their own.
;; kind: change-source
;; grants: http = ["*"]
;; expect: ends address
(func (export "change-source#poll") (param i32 i32 i32 i32) (result i32)
  (call $get (text "http://0.0.0.0:{port}/")))

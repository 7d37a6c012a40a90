;; Another port of a granted host.
;; kind: change-source
;; grants: http = ["http://127.0.0.1:9/*"]
;; expect: ends may not use http
(func (export "change-source#poll") (param i32 i32 i32 i32) (result i32)
  (call $get (text "http://127.0.0.1:{port}/")))

;; Translates a cursor for ever, and says so between.
;; kind: change-source
;; call: migrate
;; expect: ends it ran for more than 300 ms
(func (export "migration#migrate") (param i32 i32 i32 i32 i32 i32) (result i32)
  (loop $again (call $log.write (i32.const 2) (text "soon")) (br $again)) unreachable)

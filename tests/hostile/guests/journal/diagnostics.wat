;; Says a megabyte fifty times: a message is cut, and those above a thousand are counted only.
;; kind: scheduler
;; expect: ends it
(func (export "scheduler#handle") (param i32) (result i32)
  (drop (memory.grow (i32.const 20)))
  (memory.fill (i32.const 131072) (i32.const 97) (i32.const 1000000))
  (loop $again (call $log.write (i32.const 3) (i32.const 131072) (i32.const 1000000)) (br $again)) unreachable)

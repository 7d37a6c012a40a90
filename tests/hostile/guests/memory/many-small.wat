;; Takes memory through its allocator in small pieces without end, as a leak does.
;; kind: scheduler
;; expect: ends it
(func (export "scheduler#handle") (param i32) (result i32)
  (loop $again (drop (call $alloc (i32.const 64))) (br $again)) unreachable)

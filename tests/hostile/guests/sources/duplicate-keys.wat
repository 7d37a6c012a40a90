;; Finds one change fifty times in one poll; the store keeps the first of a key. Wants to be asked again at once.
;; kind: change-source
;; expect: answers poll_again_ms: 0
(func (export "change-source#poll") (param i32 i32 i32 i32) (result i32)
  (local $at i32)
  (local.set $at (i32.const 70000))
  (loop $again
    (i32.store (local.get $at) (i32.const 600)) (i32.store offset=4 (local.get $at) (i32.const 1))
    (br_if $again (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 104))) (i32.const 75200))))
  (i32.store8 (i32.const 600) (i32.const 97))
  (i32.store (i32.const 144) (i32.const 70000)) (i32.store (i32.const 148) (i32.const 50))
  (i32.const 128))

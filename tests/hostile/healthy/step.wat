;; Does nothing and says so.
;; kind: step
;; expect: answers

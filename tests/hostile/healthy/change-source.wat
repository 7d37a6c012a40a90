;; Does nothing and says so.
;; kind: change-source
;; expect: answers

from poolwatch.main import main

main()

"""Every family of models that the installed libraries build small: are the states read those of the library?"""
